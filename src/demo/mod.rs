//! The whole gateway with nothing installed: plant simulator, in-process brokers, scripted faults.
