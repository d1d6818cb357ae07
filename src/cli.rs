//! The command line: arguments, their variables and help. No behaviour.
