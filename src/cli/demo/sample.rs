//! The mail of the demo: one message of each kind that a POP3 server and a client can trip over.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Makes a Maildir with the samples, and with numbered messages up to `messages` in all.
///
/// Yields how many there are.
pub(super) fn fill(maildir: &Path, messages: u32) -> io::Result<u32> {
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(folder))?;
    }
    let samples: [_; KINDS as usize] = [welcome(), html(), attachment(), utf8(), dots(), large()];
    let mut count = 0;
    let mut deliver = |message: &[u8]| {
        count += 1;
        // The leading number is the order in which a listing shows them.
        fs::write(maildir.join(format!("new/{}.M{count}P1.localhost", EPOCH + count)), message)
    };
    for sample in &samples {
        deliver(sample)?;
    }
    for number in KINDS + 1..=messages {
        deliver(&numbered(number))?;
    }
    Ok(count)
}

/// How many samples there are.
pub(super) const KINDS: u32 = 6;

/// The delivery time in the names of the files, and so their order.
const EPOCH: u32 = 1_767_258_000;

fn message(subject: &str, minute: u32, rest: &str) -> Vec<u8> {
    format!(
        "From: Restante <demo@localhost>\n\
         To: demo@localhost\n\
         Subject: {subject}\n\
         Date: Thu, 01 Jan 2026 {:02}:{:02}:00 +0000\n\
         Message-ID: <{minute}.demo@localhost>\n\
         MIME-Version: 1.0\n\
         {rest}",
        9 + (minute / 60) % 12,
        minute % 60,
    )
    .into_bytes()
}

fn welcome() -> Vec<u8> {
    message(
        "Welcome",
        0,
        "Content-Type: text/plain; charset=us-ascii\n\
         \n\
         This message was read over POP3 from a Maildir.\n\
         \n\
         Delete it, quit, and it is gone from the directory; keep it on the server, and it\n\
         will not be fetched twice.\n",
    )
}

fn html() -> Vec<u8> {
    message(
        "HTML, with a plain text beside it",
        1,
        "Content-Type: multipart/alternative; boundary=\"two-ways\"\n\
         \n\
         --two-ways\n\
         Content-Type: text/plain; charset=us-ascii\n\
         \n\
         The same text in two forms; your client shows the one that it prefers.\n\
         --two-ways\n\
         Content-Type: text/html; charset=us-ascii\n\
         \n\
         <html><body><h1>The same text</h1>\n\
         <p>in <em>two forms</em>; your client shows the one that it prefers.</p></body></html>\n\
         --two-ways--\n",
    )
}

fn attachment() -> Vec<u8> {
    let table = "stamp,price\nletter,0.95\npostcard,0.75\nparcel,5.49\n";
    let rest = format!(
        "Content-Type: multipart/mixed; boundary=\"parts\"\n\
         \n\
         --parts\n\
         Content-Type: text/plain; charset=us-ascii\n\
         \n\
         The price list is attached.\n\
         --parts\n\
         Content-Type: text/csv; name=\"stamps.csv\"\n\
         Content-Disposition: attachment; filename=\"stamps.csv\"\n\
         Content-Transfer-Encoding: base64\n\
         \n\
         {}--parts--\n",
        base64_lines(table.as_bytes())
    );
    message("An attachment", 2, &rest)
}

fn utf8() -> Vec<u8> {
    let subject = format!("=?utf-8?B?{}?=", STANDARD.encode("Grüße aus 東京 ✉"));
    message(
        &subject,
        3,
        "Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\
         \n\
         Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.\n\
         いろはにほへと ちりぬるを\n\
         Съешь же ещё этих мягких французских булок.\n",
    )
}

fn dots() -> Vec<u8> {
    message(
        "Lines that begin with dots",
        4,
        "Content-Type: text/plain; charset=us-ascii\n\
         \n\
         A line with one dot ends a reply of POP3, so the server doubles the dot and the client\n\
         takes it away again. You see one dot, then two, then three:\n\
         .\n\
         ..\n\
         ...\n\
         .and a dot before a word. The message goes on to this line.\n",
    )
}

fn large() -> Vec<u8> {
    // Bytes that do not compress, from a generator whose quality does not matter.
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..4 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    let rest = format!(
        "Content-Type: multipart/mixed; boundary=\"parts\"\n\
         \n\
         --parts\n\
         Content-Type: text/plain; charset=us-ascii\n\
         \n\
         Four megabytes of noise are attached.\n\
         --parts\n\
         Content-Type: application/octet-stream; name=\"noise.bin\"\n\
         Content-Disposition: attachment; filename=\"noise.bin\"\n\
         Content-Transfer-Encoding: base64\n\
         \n\
         {}--parts--\n",
        base64_lines(&noise)
    );
    message("A large one", 5, &rest)
}

fn numbered(number: u32) -> Vec<u8> {
    let rest = format!(
        "Content-Type: text/plain; charset=us-ascii\n\n\
         This is message {number}.\n{}",
        "It has a few lines, like most mail, and nothing of interest in any of them.\n".repeat(12)
    );
    message(&format!("Message {number}"), number, &rest)
}

fn base64_lines(bytes: &[u8]) -> String {
    // 57 octets make a line of 76 characters, the most that MIME allows.
    bytes.chunks(57).map(|line| STANDARD.encode(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_asked_for_and_never_fewer_than_the_samples() {
        for (asked, made) in [(0, 6), (3, 6), (6, 6), (25, 25)] {
            let directory = tempfile::tempdir().unwrap();
            assert_eq!(fill(directory.path(), asked).unwrap(), made);
            let files = fs::read_dir(directory.path().join("new")).unwrap().count();
            assert_eq!(u32::try_from(files).unwrap(), made);
        }
    }

    #[test]
    fn each_has_a_header_and_a_body() {
        for sample in [welcome(), html(), attachment(), utf8(), dots(), large(), numbered(7)] {
            let header_ends = sample.windows(2).position(|two| two == b"\n\n").unwrap();
            let header = std::str::from_utf8(&sample[..header_ends]).unwrap();
            assert!(header.is_ascii(), "{header}");
            assert!(header.lines().all(|line| line.contains(": ")), "{header}");
            assert!(sample.len() > header_ends + 2);
            assert!(sample.ends_with(b"\n"));
        }
    }
}
