#!/usr/bin/perl
# Fetches mail with Net::POP3, as a script of a site would: new messages by their unique-ids,
# and removal when told so. Called by clients.py; the password comes on standard input.
#
#   net_pop3.pl fetch|remove PORT cleartext|STLS|TLS USER CA-FILE DIRECTORY LIMIT
#
# DIRECTORY/seen holds the unique-ids fetched so far; a message is stored as DIRECTORY/mail.N.
use strict;
use warnings;
use Net::POP3;

my ($task, $port, $transport, $user, $ca, $directory, $limit) = @ARGV;
chomp(my $password = <STDIN>);

my @tls = (SSL_ca_file => $ca, SSL_verifycn_name => 'localhost');
my $pop = Net::POP3->new(
    'localhost',
    Port    => $port,
    Timeout => 60,
    SSL     => $transport eq 'TLS',
    @tls,
) or die "cannot connect: $@\n";
if ($transport eq 'STLS') {
    $pop->starttls(@tls) or die 'STLS failed: ' . $pop->message . "\n";
}
defined $pop->login($user, $password) or die 'login failed: ' . $pop->message;

my %seen;
if (open my $file, '<', "$directory/seen") {
    chomp(my @ids = <$file>);
    @seen{@ids} = ();
}
my $sizes = $pop->list or die 'LIST failed: ' . $pop->message;
my $ids   = $pop->uidl or die 'UIDL failed: ' . $pop->message;
my ($count, $total) = $pop->popstat;
my $sum = 0;
$sum += $_ for values %$sizes;
$count == keys %$sizes && $count == keys %$ids && $total == $sum
  or die "STAT, LIST and UIDL disagree: $count $total\n";

for my $number (sort { $a <=> $b } keys %$sizes) {
    next if exists $seen{ $ids->{$number} } or $sizes->{$number} > $limit;
    my $lines = $pop->get($number) or die "RETR $number failed: " . $pop->message;
    # Under TLS the lines come as they were sent; without, Net::Cmd ends them with LF alone.
    if ($transport eq 'cleartext') { s/\n\z/\r\n/ for @$lines }
    my $text = join '', @$lines;
    length $text == $sizes->{$number}
      or die "message $number: LIST says $sizes->{$number}, sent were " . length($text) . "\n";
    open my $file, '>:raw', "$directory/mail.$number" or die "mail.$number: $!\n";
    print {$file} $text or die $!;
    close $file or die $!;
    $seen{ $ids->{$number} } = ();
    if ($task eq 'remove') {
        $pop->delete($number) or die "DELE $number failed: " . $pop->message;
    }
}
$pop->_QUIT or die 'QUIT failed: ' . $pop->message;
$pop->close;

open my $file, '>', "$directory/seen" or die "seen: $!\n";
print {$file} "$_\n" for keys %seen;
close $file or die $!;
