"""The partition protocol as an explicit-state model: every order of steps within small bounds is tried. See README.md."""
