//! The on-prem tape agent.
