<?php
// Fetches mail with PHP's imap extension, which is the c-client library, as a help desk would.
// Called by libraries.py as
//
//   imap.php fetch|remove PORT cleartext|TLS USER CA-FILE DIRECTORY
//
// with the password on standard input; the CA file counts by SSL_CERT_FILE. A message is stored as
// DIRECTORY/mail.N. The library has no unique-ids to tell which messages are new.
[, $task, $port, $transport, $user, , $directory] = $argv;
$password = rtrim(fgets(STDIN), "\n");

imap_timeout(IMAP_READTIMEOUT, 30);
$security = $transport === 'TLS' ? '/ssl' : '/notls';
$box = @imap_open("{localhost:$port/pop3$security}INBOX", $user, $password, 0, 1);
if ($box === false) {
    fwrite(STDERR, implode("; ", imap_errors() ?: ['no error']) . "\n");
    exit(1);
}
for ($number = 1; $number <= imap_num_msg($box); $number++) {
    $text = imap_fetchheader($box, $number) . imap_body($box, $number);
    file_put_contents("$directory/mail.$number", $text);
    if ($task === 'remove') {
        imap_delete($box, (string) $number);
    }
}
if ($task === 'remove') {
    imap_expunge($box);
}
imap_close($box);
imap_errors();
imap_alerts();
