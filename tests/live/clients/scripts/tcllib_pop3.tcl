# Fetches mail with the pop3 package of tcllib, as a script of a site would. Called by libraries.py
# as
#
#   tcllib_pop3.tcl fetch|remove PORT cleartext|TLS USER CA-FILE DIRECTORY
#
# with the password on standard input. DIRECTORY/seen holds the unique-ids fetched so far; a
# message is stored as DIRECTORY/mail.N.
package require pop3

lassign $argv task port transport user ca directory
gets stdin password

set options {}
if {$transport eq "TLS"} {
    package require tls
    set options [list -socketcmd [list tls::socket -cafile $ca -require 1 -request 1]]
}
set seen [dict create]
if {[file exists $directory/seen]} {
    set file [open $directory/seen]
    foreach id [split [string trim [read $file]] \n] { dict set seen $id 1 }
    close $file
}
set session [pop3::open {*}$options localhost $user $password $port]
foreach {number id} [string map {\n { }} [pop3::uidl $session]] {
    if {[dict exists $seen $id]} continue
    set file [open $directory/mail.$number wb]
    puts -nonewline $file [lindex [pop3::retrieve $session $number] 0]
    close $file
    dict set seen $id 1
    if {$task eq "remove"} { pop3::delete $session $number }
}
pop3::close $session
set file [open $directory/seen w]
puts $file [join [dict keys $seen] \n]
close $file
