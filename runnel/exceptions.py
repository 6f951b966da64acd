"""Names of Runnel 0.1 for errors that errors.py defines."""

from runnel.errors import ConfigurationError, LeaseLost, RunnelError

RunnelException = RunnelError
Misconfigured = ConfigurationError
NoPartitionsAssigned = LeaseLost
RebalanceFailed = LeaseLost
AcquirePartitionLockFailed = LeaseLost
ExtendPartitionLockFailed = LeaseLost

__all__ = [
    "AcquirePartitionLockFailed",
    "ExtendPartitionLockFailed",
    "Misconfigured",
    "NoPartitionsAssigned",
    "RebalanceFailed",
    "RunnelException",
]
