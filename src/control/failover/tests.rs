//! The decider's parts, one by one; as a whole it is played in `tests/it/failover`.
