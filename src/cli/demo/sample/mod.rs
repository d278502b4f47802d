//! The mail of the demo: messages of every kind that servers and clients often get wrong.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Creates a Maildir with the samples, and numbered messages up to a total of `messages`. Returns the
/// number of messages.
pub(super) fn fill(maildir: &Path, messages: u32) -> io::Result<u32> {
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(folder))?;
    }
    let mut count = 0;
    let mut deliver = |message: &[u8]| {
        count += 1;
        // The leading number is the order in which a listing shows them.
        fs::write(maildir.join(format!("new/{}.M{count}P1.localhost", EPOCH + count)), message)
    };
    for sample in SAMPLES {
        deliver(sample)?;
    }
    deliver(&large())?;
    for number in KINDS + 1..=messages {
        deliver(&numbered(number))?;
    }
    Ok(count)
}

/// The number of messages that are always there: the samples and a large one.
pub(super) const KINDS: u32 = 6;

const SAMPLES: [&[u8]; KINDS as usize - 1] = [
    include_bytes!("welcome.eml"),
    include_bytes!("html.eml"),
    include_bytes!("attachment.eml"),
    include_bytes!("utf8.eml"),
    include_bytes!("dots.eml"),
];

/// The delivery time in the file names, which determines their order.
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
        // 57 octets make a line of 76 characters, the most that MIME allows.
        noise.chunks(57).map(|line| STANDARD.encode(line) + "\n").collect::<String>()
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
        let made = [large(), numbered(7)];
        for sample in SAMPLES.into_iter().chain(made.iter().map(Vec::as_slice)) {
            let header_ends = sample.windows(2).position(|two| two == b"\n\n").unwrap();
            let header = std::str::from_utf8(&sample[..header_ends]).unwrap();
            assert!(header.is_ascii(), "{header}");
            assert!(header.lines().all(|line| line.contains(": ")), "{header}");
            assert!(sample.len() > header_ends + 2);
            assert!(sample.ends_with(b"\n"));
        }
    }
}
