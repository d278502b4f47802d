//! What users would see: which unique-ids are those that the old server has in its lists.

use std::collections::HashMap;
use std::fmt;
use std::io::BufReader;
use std::path::Path;

use crate::cli::migrate::accounts::{Account, Accounts, Selection};
use crate::cli::migrate::export::list_file::{Kind, ListFile};
use crate::cli::migrate::export::target::base_name;
use crate::cli::migrate::progress::Progress;
use crate::cli::{Failure, print};
use crate::config::{Config, UidlSource};
use crate::mailbox::maildir::{MaildirStore, PathTemplate};
use crate::protocol::UniqueId;
use crate::server;
use crate::uidl::{
    CourierList, DovecotList, DovecotSource, FormatError, Source, UidlFormat, displaced, take_over,
};

/// Prints what each user would see.
///
/// # Errors
/// [`Failure`] when a client would download messages again that the old server has listed, or when
/// a login would fail.
pub(super) fn run(file: &Path, selection: &Selection) -> Result<(), Failure> {
    let config = Config::load(file).map_err(Failure::of)?;
    let planning = Planning::new(&config).map_err(|error| Failure::of_format(file, &error))?;
    let selected = Accounts::read(&config)?.selected(selection)?;
    let users = &selected.accounts;
    server::assume(config.run_as.as_ref()).map_err(Failure::of)?;
    selected.print_left_out()?;
    let progress = Progress::new(users.len());
    let mut noticed = 0;
    for (index, account) in users.iter().enumerate() {
        let (text, is_noticed) = match planning.plan(account) {
            Ok(plan) => (plan.to_string(), plan.is_noticed()),
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

struct Planning<'a> {
    config: &'a Config,
    store: MaildirStore,
    format: UidlFormat,
    control: Option<PathTemplate>,
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
    /// What is wrong with the lists.
    damage: Vec<String>,
    /// What the guard says, if it lets the user log in.
    warning: Option<String>,
}

impl<'a> Planning<'a> {
    fn new(config: &'a Config) -> Result<Self, FormatError> {
        let dovecot = &config.maildir.dovecot;
        Ok(Self {
            config,
            store: server::maildirs(config)?,
            format: UidlFormat::parse(&dovecot.format)?,
            control: dovecot.control.as_deref().map(PathTemplate::new),
        })
    }

    fn plan(&self, account: &Account) -> Result<Plan, String> {
        let listing = account.listing(&self.store).map_err(|error| error.to_string())?;
        let warning = account.guarded(&listing, self.config.guard.mode);
        let warning = warning.map_err(|why| format!("a login would be refused: {why}"))?;
        let lists = self.lists(account, listing.path())?;
        let sources = lists.sources(self);
        let messages = listing.messages().collect::<Vec<_>>();
        let names = messages.iter().map(|message| base_name(message.file_name)).collect::<Vec<_>>();
        let order = self.config.maildir.order;
        let taken = take_over(&names, &sources, order, |_| false, |_| None);
        let places = taken.iter().filter(|taken| taken.source.is_some());
        let mut plan = Plan {
            moved: displaced(places.clone().map(|taken| taken.position)),
            wrong_size: messages.iter().filter(|message| message.has_wrong_size).count(),
            damage: lists.damage(),
            warning,
            ..Plan::default()
        };
        let taken =
            places.map(|taken| (taken.position, taken.id.as_str())).collect::<HashMap<_, _>>();
        for (position, (message, name)) in messages.iter().zip(&names).enumerate() {
            let count = match taken.get(&position) {
                // A header field decides, which is not read here.
                Some(_) if self.config.maildir.dovecot.reuse_xuidl => &mut plan.same,
                Some(id) if *id == message.id => &mut plan.same,
                Some(_) => &mut plan.changed,
                None => match sources.iter().find_map(|source| source.id(name, || None)) {
                    None => &mut plan.new,
                    Some(id) if UniqueId::try_from(&id[..]).is_err() => &mut plan.illegal,
                    Some(_) => &mut plan.doubled,
                },
            };
            *count += 1;
        }
        Ok(plan)
    }

    /// The lists of the old server that the configuration names.
    fn lists(&self, account: &Account, maildir: &Path) -> Result<Lists, String> {
        let wants = |source| self.config.maildir.uidl.iter().flatten().any(|own| *own == source);
        let mut lists = Lists::default();
        if wants(UidlSource::Dovecot) {
            let control = self.control.as_ref().map(|control| account.fill_in(control)).transpose();
            let control = control.map_err(|error| error.to_string())?;
            let directory = control.as_deref().unwrap_or(maildir);
            lists.dovecot =
                read(directory, Kind::Dovecot, |list| DovecotList::read(list, |_| true))?;
        }
        if wants(UidlSource::Courier) {
            lists.courier = read(maildir, Kind::Courier, |list| CourierList::read(list, |_| true))?;
        }
        Ok(lists)
    }
}

#[derive(Default)]
struct Lists {
    dovecot: Option<DovecotList>,
    courier: Option<CourierList>,
}

impl Lists {
    fn damage(&self) -> Vec<String> {
        let dovecot = self.dovecot.iter().filter_map(|list| list.damage.as_ref());
        let dovecot = dovecot.map(|damage| {
            format!("{damage} in dovecot-uidlist; the messages after it count as new")
        });
        let courier = self.courier.iter().map(|list| list.ignored_lines).filter(|count| *count > 0);
        let courier = courier.map(|count| {
            format!(
                "{count} lines of courierpop3dsizelist are invalid; their messages count as new"
            )
        });
        dovecot.chain(courier).collect()
    }

    fn sources<'a>(&'a self, planning: &'a Planning<'_>) -> Vec<Source<'a>> {
        let settings = &planning.config.maildir.dovecot;
        let dovecot = self.dovecot.iter().map(|list| {
            Source::Dovecot(DovecotSource {
                list,
                format: &planning.format,
                reuse_xuidl: false,
                duplicates: settings.duplicates,
            })
        });
        let courier = self.courier.iter().map(Source::Courier);
        let configured = planning.config.maildir.uidl.iter().flatten();
        match configured
            .into_iter()
            .find(|source| matches!(source, UidlSource::Dovecot | UidlSource::Courier))
        {
            Some(UidlSource::Courier) => courier.chain(dovecot).collect(),
            _ => dovecot.chain(courier).collect(),
        }
    }
}

fn read<L, E: fmt::Display>(
    directory: &Path,
    kind: Kind,
    read: impl FnOnce(BufReader<std::fs::File>) -> Result<L, E>,
) -> Result<Option<L>, String> {
    let list = ListFile::look(directory, kind).map_err(|error| error.to_string())?;
    let Some(file) = list.read().map_err(|error| error.to_string())? else { return Ok(None) };
    let read = read(BufReader::new(file));
    read.map(Some).map_err(|error| format!("{}: {error}", list.path().display()))
}

impl Plan {
    fn is_noticed(&self) -> bool {
        self.changed + self.moved + self.doubled + self.illegal + self.damage.len() > 0
    }
}

/// `240 same, 2 new`: counts of 0 are left out.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} same", self.same)?;
        for (count, what) in [
            (self.new, "new"),
            (self.changed, "with another unique-id"),
            (self.doubled, "doubled"),
            (self.illegal, "illegal"),
            (self.moved, "in another order"),
            (self.wrong_size, "with a wrong size in the name"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if let Some(warning) = &self.warning {
            write!(f, "; but {warning}")?;
        }
        self.damage.iter().try_for_each(|damage| write!(f, "\n  {damage}"))
    }
}
