"""Measuring the points of a study: those that are missing, one after the other."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from fedray.errors import FedrayError
from fedray.scaling.folder import StudyFolder
from fedray.scaling.grid import Point, points
from fedray.scaling.measurement import Measurement
from fedray.scaling.stop import Stop

Measure = Callable[[Point], Measurement | None]
"""Measures a point; None when it was interrupted."""
OnPoint = Callable[[Measurement, int, int], None]
"""Told of each point: what was measured, how many are done, how many there are."""


class DigestMismatch(FedrayError):
    """Runs that must give the same bits do not."""


def run(folder: StudyFolder, measure: Measure, on_point: OnPoint, stop: Stop) -> bool:
    """Measures what is missing.

    Args:
        folder: The study; each point is recorded as soon as it is measured.
        measure: Measures one point.
        on_point: Told of each point.
        stop: Ends it before the next point.

    Returns:
        Whether all points are measured; not when the study was interrupted.

    Raises:
        DigestMismatch: The same cohort gave different parameters.
        FedrayError: A point could not be measured.
    """
    order, found = points(folder.request()), list(folder.measurements())
    check_digests(found)
    done = {measurement.point for measurement in found}
    for point in order:
        if point in done:
            continue
        measurement = None if stop.asked else measure(point)
        if measurement is None:
            return False
        folder.append(measurement)
        found.append(measurement)
        on_point(measurement, len(found), len(order))
        check_digests(found)
    return True


def check_digests(measurements: Iterable[Measurement]) -> dict[int, str]:
    """The digest of each cohort size, the same whatever the actors and nodes.

    Raises:
        DigestMismatch: It is not; the message names the points.
    """
    by_cohort: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for measurement in measurements:
        by_cohort[measurement.point.setup.clients][measurement.digest].append(measurement.point.name)
    for clients, digests in by_cohort.items():
        if len(digests) > 1:
            said = "; ".join(f"{digest[:12]} at {', '.join(names)}" for digest, names in digests.items())
            raise DigestMismatch(
                f"the same {clients:,} clients gave different parameters: {said}; compare their run folders, and look "
                "for different versions or kinds of processors"
            )
    return {clients: next(iter(digests)) for clients, digests in sorted(by_cohort.items())}
