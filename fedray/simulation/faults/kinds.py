"""What kinds of faults there are, by what they happen to."""

import errno

LOSSES = frozenset({"kill", "hang", "exhaust_memory", "lose_result"})
"""A process that trains a block, or what it answers, is lost: the failure policy decides what follows."""
STORAGE = {"storage_full": errno.ENOSPC, "storage_error": errno.EIO}
"""The next checkpoint meets this error of its storage."""
DELAYS = frozenset({"slow", "delay_result"})
"""A process that trains a block takes longer; no bit changes."""
PROCESS = LOSSES | DELAYS
CLIENT = frozenset({"exception", "corrupt"})
"""Carried out by the client layer, the same wherever the client is trained."""
ROUND = frozenset({"kill_node", "kill_driver", "tracking_away", "storage_full", "storage_error", "restart_control"})
"""Happen to a run, not to a block or a client."""
