"""A pool of client actors that are replaced when they die, and get company when the cluster grows."""

import contextlib
from typing import Any

import ray

from fedray.client.workload import Workload
from fedray.runtime.answers import Place, Ref
from fedray.runtime.chaos import ChaosActors
from fedray.runtime.client_actor import ClientActor
from fedray.runtime.forking.offer import check_forked
from fedray.runtime.forking.offer import runtime_env as forked_env
from fedray.runtime.frames import pack
from fedray.runtime.lane import Lane
from fedray.runtime.placement import Placement
from fedray.runtime.room import Room
from fedray.runtime.starting import start
from fedray.simulation.watch import Watch


class Pool:
    """Client actors by position; a dead one is replaced at its position.

    Args:
        placement: How many actors.
        workload: The client side of the experiment.
        data: Object reference of the population's data.
        retries: How often one call is repeated after its actor died.
        start_timeout_s: How long actors may take to start.
        watch: Asked while waiting whether to stop.
    """

    def __init__(
        self,
        *,
        placement: Placement,
        workload: Workload,
        data: Ref,
        retries: int,
        start_timeout_s: float,
        watch: Watch,
    ) -> None:
        self.placement, self._watch, self._retries = placement, watch, retries
        self.start_timeout_s = start_timeout_s
        self._args = (workload, data)
        options: dict[str, Any] = {"num_cpus": placement.cpus_per_actor, "scheduling_strategy": "SPREAD"}
        if placement.gpus_per_actor:
            options["num_gpus"] = placement.gpus_per_actor
        options["enable_task_events"] = False  # Ray's own record of every call: a tenth of the time of a short one
        if placement.forked:
            options["runtime_env"] = forked_env()
        self._actor_class: Any = ray.remote(max_restarts=0, **options)(ClientActor)
        self.deaths = 0
        self.chaos = ChaosActors()
        many = placement.num_actors > 2 * placement.slots  # a few fit the memory also where they are not forked
        self._looked = not (placement.forked and many)
        self._places: list[Place | None] = [None] * placement.num_actors
        self._ages = [0] * placement.num_actors
        self._node = ray.get_runtime_context().get_node_id()
        self._lanes: dict[int, Lane] = {}
        self._joining = set[int]()
        self._actors: list[Any] = start(
            self._create,
            placement.num_actors,
            on_ready=self.started,
            timeout_s=start_timeout_s,
            watch=watch,
        )
        self._room = Room(placement)

    def _create(self) -> Any:
        return self._actor_class.remote(*self._args)

    def started(self, actor: int, place: Place) -> None:
        """Told that an actor can work.

        Raises:
            CapacityError: It should have been forked, and was not.
        """
        self._places[actor] = place
        if place.lane and place.node == self._node:
            with contextlib.suppress(OSError):  # it has died since: the first call says so
                self._lanes[actor] = Lane(place.lane, lambda: self._actors[actor].serve_lane.remote())
        if actor in self._joining:
            self._joining.remove(actor)
            self._watch.tell("pool", text=f"client actor {actor} has joined: the cluster has grown")
        if not self._looked:
            self._looked = True
            check_forked(place.pid)

    def submit(self, actor: int, method: str, *args: Any) -> Ref:
        """Sends a call to one actor; it answers in the order of its calls."""
        if actor in self._lanes:
            self._lanes[actor].leave()
        return getattr(self._actors[actor], method).remote(*args)

    def submit_small(self, actor: int, method: str, *args: Any) -> Ref:
        """Sends a call whose arguments and answer are small and hold no references: as `submit`, but sooner."""
        if actor in self._lanes:
            return self._lanes[actor].call(method, args)
        return self._actors[actor].call.remote(method, pack(args))

    def replace(self, actor: int, cause: str) -> Ref:
        """Puts a new actor in the place of a dead one.

        Returns:
            Its `Place`, once it can work.
        """
        self.deaths += 1
        self._watch.tell("warning", text=f"client actor {actor} died and is replaced ({cause})")
        return self.start_again(actor)

    def start_again(self, actor: int) -> Ref:
        """Another attempt to start an actor."""
        self._places[actor] = None
        self._ages[actor] += 1
        if actor in self._lanes:
            self._lanes.pop(actor).close()
        ray.kill(self._actors[actor])  # it may only have been out of reach
        self._actors[actor] = self._create()
        return self._actors[actor].place.remote()

    @property
    def has_room(self) -> bool:
        """Whether the cluster holds more actors than there are."""
        return self.size < self._room.num_actors

    def add(self) -> Ref:
        """Starts one more actor, at a position behind the others.

        Returns:
            Its `Place`, once it can work.
        """
        self._joining.add(self.size)
        self._places.append(None)
        self._ages.append(0)
        self._actors.append(self._create())
        return self._actors[-1].place.remote()

    def end(self, actor: int) -> None:
        """Ends the process of an actor that does not answer: Ray itself would ask it to end."""
        place = self._places[actor]
        if place is not None:
            self.chaos.end(place.node, place.pid)

    def place(self, actor: int) -> Place | None:
        """Where an actor is; None until it can work."""
        return self._places[actor]

    def current(self, actor: int) -> int:
        """Whose sum is at a position now: another number after a replacement, or after the sum was thrown away."""
        return self._ages[actor]

    def forget(self, actor: int, round: int) -> None:
        """Has an actor throw its sum away, behind all that it was asked to do."""
        self._ages[actor] += 1
        self.submit(actor, "collect", round)

    def nodes(self) -> list[str]:
        """The node on which each actor is; "" for one that is not known yet."""
        return ["" if place is None else place.node for place in self._places]

    def tell(self, text: str) -> None:
        """Warns whoever watches."""
        self._watch.tell("warning", text=text)

    @property
    def size(self) -> int:
        """Number of actors."""
        return len(self._actors)

    @property
    def slots(self) -> int:
        """How many actors may train at once: those that joined came with a processor each."""
        return self.placement.slots + self.size - self.placement.num_actors

    @property
    def retries(self) -> int:
        """How often one call is repeated after its actor died."""
        return self._retries

    def check(self) -> None:
        """Raises Interrupted when somebody asked to stop."""
        self._watch.check()

    def close(self) -> None:
        """Ends all actors."""
        self._room.close()
        for actor in self._actors:
            ray.kill(actor)
        for lane in self._lanes.values():
            lane.close()
        self._actors = []
        self.chaos.close()
