//! `restante migrate adopt`: finds the messages of another server that have been copied here, and
//! writes a map of their unique-ids.
//!
//! A copy over IMAP or POP3 has other file names, and no list comes with it. So the messages are
//! compared: by their headers, their octets and their order. `pair` decides.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::accounts::{Account, Accounts, load};
use super::audit::old::ServerArgs;
use super::client::{ServerUrl, Want};
use super::digest::{HeaderDigest, Kind};
use super::listing::Listing;
use crate::cli::progress::Progress;
use crate::cli::{CONFIG, Failure, print};
use crate::config::RunAs;
use crate::mailbox::OpenError;
use crate::mailbox::maildir::MaildirStore;
use crate::protocol::{UniqueId, Username};
use crate::server::{self, PrivilegeError};

mod pair;

use pair::{Key, pair};

/// `restante migrate adopt`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    #[arg(
        long,
        value_name = "URL",
        help = "The other server: pop3s://HOST[:PORT], or pop3://HOST[:PORT] with STLS"
    )]
    old: ServerUrl,
    #[command(flatten)]
    server: ServerArgs,
    /// The directory for the maps, a file for each user. Users who have one are skipped.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Replace the maps of users who have one.
    #[arg(long)]
    replace: bool,
}

/// Writes a map for each user.
///
/// # Errors
/// [`Failure`] when the messages of a user could not be compared, or not all of them were found.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let (config, store) = load(&args.config)?;
    let accounts = Accounts::read(&config)?;
    let mut logins = args.server.logins()?;
    if !args.replace {
        for login in logins.extract_if(.., |login| map_path(&args.output, &login.user).exists()) {
            let path = map_path(&args.output, &login.user);
            print(format!(
                "{}: skipped, because {} exists; --replace makes it again\n",
                login.user,
                path.display()
            ))?;
        }
    }
    let server = args.server.server(args.old, Want::Headers)?;
    let (all, progress) = (logins.len(), Progress::new(logins.len(), "users"));
    let (mut done, mut failed, mut incomplete) = (0, 0, 0);
    args.server.ask(server, logins, |user, listing| {
        let name = user.as_str().to_owned();
        let adopted = listing.map_err(|error| error.to_string()).and_then(|listing| {
            let account = accounts.account(user).map_err(|failure| failure.to_string())?;
            adopt(&store, config.run_as.as_ref(), &account, &listing, &args.output)
        });
        let text = match adopted {
            Ok(adopted) => {
                incomplete += usize::from(adopted.paired < adopted.of);
                adopted.to_string()
            }
            Err(why) => {
                failed += 1;
                why
            }
        };
        done += 1;
        progress.clear()?;
        print(format!("{name}: {text}\n"))?;
        progress.show(done)
    })?;
    match (failed, incomplete) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::new(format!(
            "not all messages of {incomplete} of {all} users have been found; clients will download \
             the others again"
        ))),
        _ => Err(Failure::new(format!("{failed} of {all} users could not be compared"))),
    }
}

/// What was found for a user.
struct Adopted {
    paired: usize,
    of: usize,
    here: usize,
    /// Messages that are not found, and whose headers have no field that counts.
    unidentified: usize,
}

impl fmt::Display for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paired, of, here, unidentified } = self;
        write!(f, "{paired} of {of} messages found, {here} are here")?;
        match unidentified {
            0 => Ok(()),
            _ => write!(f, "; {unidentified} not identified: no field of their headers counts"),
        }
    }
}

fn adopt(
    store: &MaildirStore,
    run_as: Option<&RunAs>,
    account: &Account,
    old: &Listing,
    output: &Path,
) -> Result<Adopted, String> {
    let own = server::as_server(run_as, || own(store, account));
    let own = own.map_err(|error: PrivilegeError| error.to_string())?;
    let own = own.map_err(|error| error.to_string())?;
    let octets = old.octets.iter().zip(&old.digests);
    let of_old = octets.map(|(octets, digest)| Key { digest: *digest, octets: *octets });
    let (of_old, of_new) = (of_old.collect::<Vec<_>>(), own.iter().map(|own| own.key));
    let pairs = pair(&of_old, &of_new.collect::<Vec<_>>());
    let empty = of_old.iter().filter(|key| has_no_header(key)).count();
    let paired = pairs.iter().filter_map(|(at, _)| of_old.get(*at));
    let unidentified = empty.saturating_sub(paired.filter(|key| has_no_header(key)).count());
    let (mut map, mut ids) = (Vec::new(), HashSet::new());
    for (at, here) in pairs {
        let (Some(id), Some(own)) = (old.ids.get(at), own.get(here)) else { continue };
        let is_legal = UniqueId::is_valid(id);
        let is_name_legal =
            !own.base_name.iter().any(|octet| matches!(octet, b'\t' | b'\n' | b'\r'));
        if is_legal && is_name_legal && ids.insert(id) {
            map.extend_from_slice(&[own.base_name.as_slice(), b"\t", id, b"\n"].concat());
        }
    }
    write(output, &account.user, &map)?;
    Ok(Adopted { paired: ids.len(), of: old.ids.len(), here: own.len(), unidentified })
}

fn has_no_header(key: &Key) -> bool {
    key.digest.is_some_and(|digest| digest.kind == Kind::Empty)
}

/// Why there are no messages to compare with.
#[derive(Debug, thiserror::Error)]
enum OwnError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("there is no Maildir yet; copy the mail first")]
    NoMaildir,
}

/// A message here.
struct Own {
    base_name: Vec<u8>,
    key: Key,
}

fn own(store: &MaildirStore, account: &Account) -> Result<Vec<Own>, OwnError> {
    // A map of no messages would be of no use.
    let listing = account.listing(store)?.ok_or(OwnError::NoMaildir)?;
    let heads = listing.heads()?;
    let own = listing.messages().zip(heads).map(|(message, head)| Own {
        base_name: message.base_name.to_vec(),
        key: Key { digest: head.as_deref().and_then(HeaderDigest::of), octets: message.octets },
    });
    Ok(own.collect())
}

fn map_path(directory: &Path, user: &Username) -> PathBuf {
    directory.join(user.as_str())
}

/// Writes the map of a user, which appears whole or not at all.
fn write(directory: &Path, user: &Username, map: &[u8]) -> Result<(), String> {
    let path = map_path(directory, user);
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".adopt.").tempfile_in(directory)?;
        file.write_all(map)?;
        // The user of the server has to read it. File names are no secret.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        fs::File::open(directory)?.sync_all()
    };
    written().map_err(|error| format!("{}: {error}", path.display()))
}
