# Fetches mail with Ruby's net-pop, as a script of a site would. Called by libraries.py as
#
#   net_pop.rb fetch|remove PORT cleartext|TLS USER CA-FILE DIRECTORY
#
# with the password on standard input. DIRECTORY/seen holds the unique-ids fetched so far; a
# message is stored as DIRECTORY/mail.N.
require 'net/pop'
require 'openssl'
require 'set'

task, port, transport, user, ca, directory = ARGV
password = $stdin.gets.chomp
seen_file = "#{directory}/seen"
seen = Set.new(File.exist?(seen_file) ? File.readlines(seen_file, chomp: true) : [])

pop = Net::POP3.new('localhost', port.to_i)
pop.read_timeout = 30
pop.enable_ssl(OpenSSL::SSL::VERIFY_PEER, ca) if transport == 'TLS'
pop.start(user, password) do |session|
  session.each_mail do |mail|
    next unless seen.add?(mail.unique_id)
    text = mail.pop
    raise "#{mail.number}: not #{mail.length} octets" if text.bytesize != mail.length
    File.binwrite("#{directory}/mail.#{mail.number}", text)
    mail.delete if task == 'remove'
  end
end
File.write(seen_file, seen.map { |id| "#{id}\n" }.join)
