//! The set-up page for a person.
//!
//! It works without scripts: every choice is a form. Text is escaped by `maud`.

use maud::{DOCTYPE, Markup, html};

use super::request::Program;
use super::text::{Language, Text};
use crate::client_settings::{Address, Protocol, Server, Site};

/// The page for what a visitor has typed.
pub(super) struct Page<'a> {
    site: &'a Site,
    language: Language,
    text: &'static Text,
    typed: Typed<'a>,
    program: Program,
}

/// The address in the form.
enum Typed<'a> {
    Nothing,
    Malformed(&'a str),
    /// An address of a domain that the site is not for.
    Foreign(Address),
    Good(Address),
}

impl<'a> Page<'a> {
    /// The page, before or after an address was typed.
    pub(super) fn new(
        site: &'a Site,
        language: Language,
        typed: Option<&'a str>,
        program: Option<Program>,
    ) -> Self {
        let typed = match typed.map(|typed| (typed, Address::parse(typed))) {
            None => Typed::Nothing,
            Some((typed, None)) => Typed::Malformed(typed),
            Some((_, Some(address))) if !site.has(address.domain()) => Typed::Foreign(address),
            Some((_, Some(address))) => Typed::Good(address),
        };
        let program = program.unwrap_or(Program::Thunderbird);
        Self { site, language, text: language.text(), typed, program }
    }

    /// Whether the address is of no use.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.typed, Typed::Malformed(_) | Typed::Foreign(_))
    }

    /// HTML.
    pub(super) fn render(&self) -> String {
        let text = self.text;
        let name = self.site.display_name();
        let page = html! {
            (DOCTYPE)
            html lang=(self.language.tag()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (text.title) @if let Some(name) = name { " \u{2013} " (name) } }
                    link rel="stylesheet" href="/style.css";
                    script src="/script.js" defer {}
                }
                body {
                    header {
                        strong { @if let Some(name) = name { (name) } }
                        nav aria-label="Language \u{2013} Sprache" {
                            @for language in Language::ALL {
                                @if language != self.language {
                                    a href={ "/?lang=" (language.tag()) } lang=(language.tag())
                                        hreflang=(language.tag()) { (language.name()) }
                                }
                            }
                        }
                    }
                    main {
                        h1 { (text.title) }
                        p { (text.introduction) }
                        (self.form())
                        @if let Typed::Good(address) = &self.typed { (self.settings(address)) }
                    }
                    footer {
                        @if let Some(help) = self.site.help() { a href=(help) rel="noreferrer" { (text.help) } }
                    }
                    div id="said" class="unseen" aria-live="polite" {}
                }
            }
        };
        page.into_string()
    }

    fn form(&self) -> Markup {
        let text = self.text;
        let typed = match &self.typed {
            Typed::Nothing => String::new(),
            Typed::Malformed(typed) => (*typed).to_owned(),
            Typed::Foreign(address) | Typed::Good(address) => address.to_string(),
        };
        let domain = self.site.domains().first().map_or("example.org", String::as_str);
        html! {
            form method="post" action="/" {
                input type="hidden" name="lang" value=(self.language.tag());
                label for="address" { (text.address) }
                div class="ask" {
                    input id="address" name="address" type="email" autocomplete="email" required
                        maxlength="320" value=(typed) placeholder={ "mrose@" (domain) }
                        aria-describedby={ @if self.is_refused() { "fault " } "privacy" }
                        aria-invalid=[self.is_refused().then_some("true")];
                    button class="main" type="submit" { (text.show) }
                }
                @match &self.typed {
                    Typed::Malformed(_) => {
                        p class="fault" id="fault" role="alert" { (text.malformed) " mrose@" (domain) "." }
                    }
                    Typed::Foreign(address) => {
                        p class="fault" id="fault" role="alert" { (text.foreign) " " (address.domain()) "." }
                    }
                    Typed::Nothing | Typed::Good(_) => {}
                }
                p class="quiet" id="privacy" { (text.privacy) }
            }
        }
    }

    fn settings(&self, address: &Address) -> Markup {
        let text = self.text;
        let servers = self.site.servers(address.domain());
        let pop3 = servers.iter().position(|server| server.protocol == Protocol::Pop3);
        let smtp = servers.iter().position(|server| server.protocol == Protocol::Smtp);
        let (main, more): (Vec<_>, Vec<_>) = servers
            .iter()
            .enumerate()
            .partition(|(nth, _)| Some(*nth) == pop3 || Some(*nth) == smtp);
        html! {
            h2 id="program" { (text.program) }
            form method="post" action="/#program" {
                (self.hidden(address))
                div class="programs" {
                    @for program in Program::ALL {
                        button name="program" value=(program.name())
                            aria-current=[(program == self.program).then_some("true")]
                            { (text.program(program)) }
                    }
                }
            }
            h2 { (text.program(self.program)) }
            ol { @for step in text.steps(self.program) { li { (step) } } }
            @if self.program == Program::Apple {
                form method="post" action="/mail.mobileconfig" {
                    (self.hidden(address))
                    button class="main" type="submit" { (text.download) }
                }
            }
            h2 { (text.settings) }
            @for (nth, server) in main {
                (self.card(nth, server, address))
            }
            p class="quiet" { (text.password) }
            @if !more.is_empty() {
                details {
                    summary { (text.more) }
                    @for (nth, server) in more {
                        (self.card(nth, server, address))
                    }
                }
            }
        }
    }

    /// What the forms keep from page to page.
    fn hidden(&self, address: &Address) -> Markup {
        html! {
            input type="hidden" name="lang" value=(self.language.tag());
            input type="hidden" name="address" value=(address);
        }
    }

    fn card(&self, nth: usize, server: &Server<'_>, address: &Address) -> Markup {
        let text = self.text;
        let rows = [
            ("server", text.server, server.host.to_owned()),
            ("port", text.port, server.port.number.to_string()),
            ("security", text.security, text.security(server.port.tls).to_owned()),
            ("user", text.user_name, self.site.user_name(address)),
        ];
        html! {
            section class="card" {
                h3 { (text.purpose(server.protocol)) ": " (server.protocol.name()) }
                dl {
                    @for (key, about, value) in rows {
                        @let id = format!("{key}-{nth}");
                        div class="row" {
                            dt { (about) }
                            dd class="value" id=(id) { (value) }
                            // A choice in a list cannot be pasted.
                            @if key != "security" {
                                button type="button" hidden data-copy=(id) data-copied=(text.copied)
                                    aria-label={ (text.copy) ": " (about) } { (text.copy) }
                            }
                        }
                    }
                }
            }
        }
    }
}
