//! A command of the Procfile and the way it is executed.

/// A command line, as the Procfile has it, with the way to execute it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The text, never edited; need not be UTF-8.
    pub text: Vec<u8>,
    /// How it is executed.
    pub form: Form,
}

/// How a command is executed (CONTRACT: "The command text is never edited").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Plain words: the first is looked up in the child's PATH and executed without a shell.
    Direct(Vec<Vec<u8>>),
    /// A single simple command with expansions: `/bin/sh -c 'exec TEXT'`.
    Exec,
    /// Anything else: `/bin/sh -c TEXT`.
    Shell,
}
