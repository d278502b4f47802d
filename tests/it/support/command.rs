//! The commands of the program, with the configuration of a place.

use std::process::{Command, Output};

use super::{PROGRAM, Place};

impl Place {
    /// Runs a command, whose words are separated by blanks, with the configuration of this place.
    pub(crate) fn run(&self, words: &str) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(words.split(' ')).arg("--config").arg(self.path("restante.toml"));
        command.output().unwrap()
    }

    /// What a command that succeeds prints.
    pub(crate) fn told(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error of a command that fails.
    pub(crate) fn error(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{words}");
        String::from_utf8(output.stderr).unwrap()
    }
}
