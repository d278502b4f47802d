//! `restante client-settings`: what mail clients have to be told.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::control::table::Table;
use super::{Failure, print};
use crate::client_settings::{Address, Domain, Server, Site, autoconfig, mobileconfig, records};
use crate::config::{Config, TlsMode, UserNameForm};

/// `restante client-settings`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante client-settings example.org\n  \
        restante client-settings example.org --format dns        # for the zone of example.org\n  \
        restante client-settings mrose@example.org --format mobileconfig > mrose.mobileconfig")]
pub struct Args {
    /// The domain of the users, or the e-mail address of one.
    #[arg(value_name = "DOMAIN|ADDRESS")]
    of: String,
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Print this alone.
    #[arg(long, short)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// What a user types into a mail client.
    Table,
    /// Records for a zone file.
    Dns,
    /// The document that Thunderbird and others look for.
    Autoconfig,
    /// A profile for iPhone, iPad and Mac.
    Mobileconfig,
    /// The table and the records, for a program.
    Json,
}

/// Prints the settings.
///
/// # Errors
/// [`Failure`] when there are none for this domain, or they cannot be printed.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::of)?;
    let site = Site::of(&config).ok_or_else(|| {
        let file = args.config.display();
        Failure::new(format!(
            "{file} has no section [client-settings]; write one, and [client-settings.smtp] with host = \
             \"smtp.example.org\""
        ))
    })?;
    let address = Address::parse(&args.of);
    let domain = address.as_ref().map(|address| address.domain().clone());
    let domain = domain.or_else(|| Domain::parse(&args.of)).ok_or_else(|| {
        Failure::new(format!(
            "{:?} is neither a domain nor an e-mail address; write one such as example.org, in ASCII",
            args.of
        ))
    })?;
    if !site.has(&domain) {
        let domains = site.domains().join(", ");
        return Err(Failure::new(format!(
            "{domain} is not among the domains of [client-settings]: {domains}"
        )));
    }
    let about = About { site, domain, address };
    print(match args.format {
        None => about.all(),
        Some(Format::Table) => about.table(),
        Some(Format::Dns) => about.dns(),
        Some(Format::Autoconfig) => autoconfig(&about.site, &about.domain),
        Some(Format::Mobileconfig) => about.mobileconfig(),
        Some(Format::Json) => {
            serde_json::to_string_pretty(&about.json()).map_err(Failure::of)? + "\n"
        }
    })
}

/// What is printed, and for whom.
struct About {
    site: Site,
    domain: Domain,
    address: Option<Address>,
}

impl About {
    fn all(&self) -> String {
        format!(
            "What a user types into a mail client:\n\n{}\n\
             Records for the DNS:\n\n{}\n\
             The document at https://autoconfig.{}/mail/config-v1.1.xml:\n\n{}",
            self.table(),
            self.dns(),
            self.domain,
            autoconfig(&self.site, &self.domain),
        )
    }

    fn table(&self) -> String {
        let mut table = Table::new(&["PROTOCOL", "SERVER", "PORT", "SECURITY", "USER NAME"]);
        for Server { protocol, host, port } in self.site.servers(&self.domain) {
            table.push([
                protocol.name().to_owned(),
                host.to_owned(),
                port.number.to_string(),
                security(port.tls).to_owned(),
                self.user_name(),
            ]);
        }
        table.block()
    }

    fn user_name(&self) -> String {
        match (&self.address, self.site.user_name_form()) {
            (Some(address), _) => self.site.user_name(address),
            (None, UserNameForm::Address) => "the e-mail address".to_owned(),
            (None, UserNameForm::LocalPart) => "the part before the @".to_owned(),
        }
    }

    fn dns(&self) -> String {
        records(&self.site, &self.domain).into_iter().map(|record| record + "\n").collect()
    }

    fn mobileconfig(&self) -> String {
        mobileconfig(&self.site, &self.domain, self.address.as_ref()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        let server = |Server { protocol, host, port }: Server<'_>| {
            json!({
                "protocol": protocol.name().to_ascii_lowercase(),
                "host": host,
                "port": port.number,
                "tls": port.tls,
            })
        };
        let servers = self.site.servers(&self.domain).into_iter();
        json!({
            "domain": self.domain.as_str(),
            "display_name": self.site.name_for(&self.domain),
            "help": self.site.help(),
            "user_name_form": self.site.user_name_form(),
            "user_name": self.address.as_ref().map(|address| self.site.user_name(address)),
            "servers": servers.map(server).collect::<Vec<_>>(),
            "records": records(&self.site, &self.domain),
        })
    }
}

/// A TLS mode, as most mail clients call it.
fn security(tls: TlsMode) -> &'static str {
    match tls {
        TlsMode::Implicit => "SSL/TLS",
        TlsMode::Starttls => "STARTTLS",
        TlsMode::Off => "none",
    }
}
