//! The settings of Dovecot that apply to POP3.

use super::block::Block;

/// The settings that apply to POP3, and to the namespace of the inbox.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) root: &'a Block<'a>,
    /// The blocks with settings, those that take precedence first.
    blocks: Vec<&'a Block<'a>>,
    /// The blocks of the namespace with the inbox, likewise.
    inbox: Vec<&'a Block<'a>>,
}

impl<'a> Settings<'a> {
    /// Sorts the blocks of the whole output.
    pub(super) fn of(root: &'a Block<'a>) -> Self {
        let pop3 = root.blocks().filter(|block| block.header == "protocol pop3").rev();
        let blocks: Vec<_> = pop3.chain([root]).collect();
        let namespaces = || blocks.iter().flat_map(|block| block.blocks_of("namespace"));
        let main = namespaces().find(|namespace| namespace.is_set("inbox"));
        let inbox = main.map_or_else(Vec::new, |main| match main.header {
            // Namespaces without a name are all different.
            "namespace" => vec![main],
            name => namespaces().filter(|namespace| namespace.header == name).collect(),
        });
        Self { root, blocks, inbox }
    }

    /// The value of a setting. `None`: it is not set, or is empty.
    pub(super) fn setting(&self, name: &str) -> Option<&'a str> {
        let value = self.blocks.iter().find_map(|block| block.setting(name));
        value.filter(|value| !value.is_empty())
    }

    /// Whether a setting has the value `yes`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.setting(name) == Some("yes")
    }

    /// The blocks of a kind.
    pub(super) fn blocks_of(&self, kind: &'a str) -> impl Iterator<Item = &'a Block<'a>> {
        self.blocks.iter().flat_map(move |block| block.blocks_of(kind))
    }

    /// The value of a setting of the namespace with the inbox. `None`: the global one applies.
    pub(super) fn of_inbox(&self, name: &str) -> Option<&'a str> {
        let mut values = self.inbox.iter().filter_map(|block| block.setting(name));
        values.find(|value| !value.is_empty())
    }
}
