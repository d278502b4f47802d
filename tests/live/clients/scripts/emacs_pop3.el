;; Fetches mail with Emacs's pop3.el, as Gnus does.  Called by commands.py as
;;
;;   emacs --batch --load emacs_pop3.el --funcall fetch
;;
;; with the arguments in TASK, PORT, TRANSPORT, MAILDROP, CA and the password on standard input.
;; The mail goes to ~/inbox, an mbox.
(require 'pop3)
(require 'gnutls)
(require 'nsm)

;; It asks whether to go on without TLS, or with a certificate made at home; the certificate is
;; checked all the same, by `gnutls-verify-error'.
(advice-add 'nsm-query :override #'always)

(defun fetch ()
  (setq gnutls-trustfiles (list (getenv "CA"))
        gnutls-verify-error t
        pop3-mailhost "localhost"
        pop3-port (string-to-number (getenv "PORT"))
        pop3-maildrop (getenv "MAILDROP")
        pop3-password (read-string "")
        pop3-stream-type (pcase (getenv "TRANSPORT")
                           ("TLS" 'ssl) ("STLS" 'starttls) (_ 'network))
        pop3-leave-mail-on-server (equal (getenv "TASK") "fetch")
        pop3-uidl-file "~/uidl")
  (pop3-movemail "~/inbox"))
