//! What the hardware is: board profiles.
