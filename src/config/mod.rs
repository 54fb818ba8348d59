//! The configuration file: read, validated, every fault at once.
