//! What users would see: which unique-ids a login shows, and which the lists of the old server have.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::cli::migrate::accounts::{Account, Accounts, NO_MAILDIR, Selection, load};
use crate::cli::migrate::counts::write_counts;
use crate::cli::progress::Progress;
use crate::cli::{Failure, print};
use crate::config::GuardMode;
use crate::mailbox::maildir::{InList, ListComparison, ListedMessage, MaildirStore};
use crate::server;

/// Whether the messages are printed, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Only their counts.
    Counts,
    /// A line for each of them.
    Messages,
}

/// Prints what each user would see.
///
/// # Errors
/// [`Failure`] when a client would download messages again that the old server has listed, or when
/// a login would fail.
pub(super) fn run(file: &Path, selection: &Selection, extent: Extent) -> Result<(), Failure> {
    let (config, store) = load(file)?;
    let selected = Accounts::read(&config)?.selected(selection)?;
    let users = &selected.accounts;
    server::assume(config.run_as.as_ref()).map_err(Failure::of)?;
    selected.print_left_out()?;
    let progress = Progress::new(users.len(), "users");
    let mut noticed = 0;
    for (index, account) in users.iter().enumerate() {
        let planned = plan(account, &store, config.guard.mode, extent);
        let (text, is_noticed) = match planned {
            Ok(Some(plan)) => (plan.to_string(), plan.is_noticed()),
            Ok(None) => (NO_MAILDIR.to_owned(), false),
            Err(why) => (why, true),
        };
        noticed += usize::from(is_noticed);
        progress.clear()?;
        print(format!("{}: {text}\n", account.user.as_str()))?;
        progress.show(index + 1)?;
    }
    match noticed {
        0 => selected.is_complete(),
        _ => Err(Failure::new(format!(
            "{noticed} of {} users would notice the move; correct the configuration before they \
             log in",
            users.len()
        ))),
    }
}

/// Counts of the messages of a user.
#[derive(Debug, Default)]
struct Plan {
    /// They have the unique-id that the old server has in its list.
    same: usize,
    /// The lists do not have them.
    new: usize,
    /// They have another unique-id than in the list.
    changed: usize,
    /// The list has the unique-id of an earlier message.
    doubled: usize,
    /// The list has what cannot be a unique-id.
    illegal: usize,
    /// They have another place than on the old server.
    moved: usize,
    /// Their names have another size than their files, so Dovecot does not serve them.
    wrong_size: usize,
    /// How many unique-ids come from each source.
    sources: BTreeMap<&'static str, usize>,
    /// What is wrong with the lists.
    damage: Vec<String>,
    /// What the guard says, if it lets the user log in.
    warning: Option<String>,
    /// A line for each message, if they are printed.
    messages: Vec<String>,
}

/// What a user would see; `None` if a login would make the Maildir.
fn plan(
    account: &Account,
    store: &MaildirStore,
    mode: GuardMode,
    extent: Extent,
) -> Result<Option<Plan>, String> {
    let listing = account.listing(store).map_err(|error| error.to_string())?;
    let Some(listing) = listing else { return Ok(None) };
    let warning = account.guarded(&listing, mode);
    let warning = warning.map_err(|why| format!("a login would be refused: {why}"))?;
    let compared = listing.compare_lists().map_err(|error| error.to_string())?;
    let damage = damage(&compared);
    let mut plan = Plan { moved: compared.moved, damage, warning, ..Plan::default() };
    for (number, (message, in_list)) in (1..).zip(listing.messages().zip(&compared.messages)) {
        plan.add(&message, *in_list);
        if extent == Extent::Messages {
            plan.messages.push(line(number, &message, *in_list));
        }
    }
    Ok(Some(plan))
}

fn damage(compared: &ListComparison) -> Vec<String> {
    let dovecot = compared
        .damage
        .iter()
        .map(|damage| format!("{damage} in dovecot-uidlist; the messages after it count as new"));
    let courier = Some(compared.ignored_lines).filter(|count| *count > 0).map(|count| {
        format!("{count} lines of courierpop3dsizelist are invalid; their messages count as new")
    });
    dovecot.chain(courier).collect()
}

/// `1 0000000200000007 (dovecot, same) 1700000000.M1P1.host`
fn line(number: u32, message: &ListedMessage<'_>, in_list: InList) -> String {
    let (source, name) = (source(message), message.file_name.escape_ascii());
    let in_list = match in_list {
        InList::Same => "same",
        InList::Other => "another unique-id",
        InList::Doubled => "doubled",
        InList::Illegal => "illegal",
        InList::Absent => "new",
    };
    format!("{number} {} ({source}, {in_list}) {name}", message.id)
}

fn source(message: &ListedMessage<'_>) -> &'static str {
    message.source.map_or("restante.uids", |source| source.word())
}

impl Plan {
    fn add(&mut self, message: &ListedMessage<'_>, in_list: InList) {
        let count = match in_list {
            InList::Same => &mut self.same,
            InList::Other => &mut self.changed,
            InList::Doubled => &mut self.doubled,
            InList::Illegal => &mut self.illegal,
            InList::Absent => &mut self.new,
        };
        *count += 1;
        *self.sources.entry(source(message)).or_default() += 1;
        self.wrong_size += usize::from(message.has_wrong_size);
    }

    fn is_noticed(&self) -> bool {
        self.changed + self.moved + self.doubled + self.illegal + self.damage.len() > 0
    }
}

/// `240 same, 2 new (2 base-name, 240 dovecot)`
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_counts(
            f,
            (self.same, "same"),
            &[
                (self.new, "new"),
                (self.changed, "with another unique-id"),
                (self.doubled, "doubled"),
                (self.illegal, "illegal"),
                (self.moved, "in another order"),
                (self.wrong_size, "with a wrong size in the name"),
            ],
        )?;
        let mut sources = self.sources.iter().map(|(source, count)| (*count, *source));
        if let Some(first) = sources.next() {
            f.write_str(" (")?;
            write_counts(f, first, &sources.collect::<Vec<_>>())?;
            f.write_str(")")?;
        }
        if let Some(warning) = &self.warning {
            write!(f, "; but {warning}")?;
        }
        self.damage.iter().chain(&self.messages).try_for_each(|line| write!(f, "\n  {line}"))
    }
}
