//! Password fields that other implementations made, each with its password.

/// The maker, the field and the password. The makers are Dovecot 2.3 (`doveadm pw`), crypt(3) of
/// libxcrypt (`mkpasswd`), passlib 1.7 and `PostgreSQL` 15.
pub(in crate::password) const STRONG: &[(&str, &str, &str)] = &[
    (
        "doveadm",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$lvfeNuuiFcvuNigmS9CGUQ$VKbk2eR7nMnV2UwCdUH3Lp1Q+sXmZnXBNJmcIBJ2f38",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$niBD3UWnoQ09h00ZJ74F5w$+RKuewPwylPJI+7pjg2loLfy+Iyd/nwAgdpwehBAf0w",
        TANSTAAF,
    ),
    (
        "mkpasswd",
        "$y$j9T$lVsOq2TaFMudHPbQvNyF4.$RQ8WC8Cbf7Xs5m8pDOYMI6MEByah7sllif1I8N5ZHi.",
        TANSTAAF,
    ),
    (
        "mkpasswd",
        "{YESCRYPT}$y$j75$LzQLKIb74mlnbjGNZ.xma/$fksC.o59BfwgtjYeHIW3mD1BBCHvNCzyQArUjbiHCD8",
        TANSTAAF,
    ),
    ("crypt", "{CRYPT}$y$j9T$abcdefgh$9WNEpu8Mx2S4KNGvbVWKM6clOSoY6.YEl7AYF4DGV04", "x"),
    (
        "mkpasswd",
        "$7$BU..../....wc8Ki9IboFw6LbCOPhzjK0$.iBGW0LvKfRkhFRUtuJtxLURcW7ilx9KriqOvkJ4rZ6",
        TANSTAAF,
    ),
    (
        "crypt",
        "{SCRYPT}$7$CU..../....SodiumChloride$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/",
        "x",
    ),
    (
        "passlib",
        "$scrypt$ln=10,r=8,p=1$MSYEICSkdE5prbV2TgmhdA$LSrabq/H4A6gL0kNv4GQuE4oKyoLiLVzOT4CxIkq8d4",
        TANSTAAF,
    ),
    (
        "passlib",
        "$scrypt$ln=8,r=4,p=3$9J6z9t67l5ISQsiZE8KY0w$Ct+LaWKD4J+rANVOjhGNkA290gr3aEdGr/+D6L+Jb5M",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{BLF-CRYPT}$2y$05$CsMMocytfCBt1glN0GkuKu3IkMNqU111DTV6ReP6lhKkY67O7wNkS",
        TANSTAAF,
    ),
    ("doveadm", "{CRYPT}$2y$05$966LI/AGzMFZZ9u6/xEmsu52XOM71Vy3ddnJ1MGXOJzzlnM6.ke6y", TANSTAAF),
    (
        "doveadm",
        "{blf-crypt}$2y$06$3pJP/2wE2Vx4eytS/0V5jeiSLWJN10WA2rEillmT7AaDM.1MGsthS",
        TANSTAAF,
    ),
    ("mkpasswd", "$2b$05$BHnfvlbJdGRjngbNGyzQNezoMNuriyNZQOgN0DTwjaUlPc5FIeiCK", TANSTAAF),
    ("mkpasswd", "$2a$05$iUZ.Fqn572pBKLFE.4pupOGqFSoYkioKFd5EClUWGTgA1eIs11P1i", TANSTAAF),
    ("passlib", "$2b$04$szQ/H3QODszPdwsGtgNnJu1JCYf1a6Yx55kXGS1gAiD75HH8VTC76", TANSTAAF),
    (
        "doveadm",
        "{SHA512-CRYPT}$6$4tcSTcfjbQfefVr8$UJWeEia7WLrsjsXO/JtIRjv.Fm39XERr7LmKVbJ5cGuo4ptcus4ABHwQoZeUS.lvtTxyNufUutIXxhWdBx6gF1",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512-CRYPT.B64}JDYkcXgva2o4bnhnVWZ0S01BayRiSGpkdGFiQzJpaDVkOU9LT1F4c1hZbE5IeXpoSHhRZTFjbWxoblI0b0RuZmEwUzJOdDNmM3Vpc1NEQkw0NzFKa0pIM0gxL2FPWjllRHEyREQ3aS9EMA==",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512-CRYPT}$6$rounds=20000$TO77g3npqIjnTl7M$tme5qZljz9GRXmex.ei7ysUfNCVvxlmYxAdO3.agCUb9z8LQWQyfeQZmP.CFqF1hDZ4BPlQmUJ4hKA7QkTqaI0",
        UMLAUTS,
    ),
    (
        "mkpasswd",
        "$6$rounds=1000$Z4wzMbsqe1c8E/5i$RYZErx18BgCJvtrYr6u/RypphCJkE3WbvPu5T53OxUiX5Q8H0jK2IYBf4yYcw4EMB901LynidVZ5WpkKyndRZ1",
        TANSTAAF,
    ),
    (
        "passlib",
        "$6$rounds=1000$HGcHZfTvNZgw7F5I$1MLdcPVLaNmCfFTl2gd55g0GKFGCPb7FL8LRIl7qpGVwAVwRsk90T2zpT4liBl.TJWJ/Yn5uUIyhcMlKTcoUz.",
        X80,
    ),
    (
        "passlib",
        "$6$rounds=1000$4rtAHQChYZZga5ct$Z8cfTshkNdMGNPoXztHC1u2jMWKgFN/HG6wqiA4arNZFp/BRpwGMafXdueHNfKE3CfKfiAWnQP.E1/kyZecaI/",
        X64,
    ),
    (
        "doveadm",
        "{SHA256-CRYPT}$5$dCd9A8nhWSRHFRcg$aDtLHsxe0a7dX1sB2TAuC4KTWGt2TnEz4i3IGx2SR20",
        TANSTAAF,
    ),
    (
        "passlib",
        "$5$rounds=1000$lJOYBM.7rtigj/8f$bsuQVLji4VKXg09bOq8wOHQA.W9fIsgH91u7GdQvb35",
        UMLAUTS,
    ),
    ("passlib", "$5$rounds=1000$.KZPsnfSVG.jYzGR$JEPchE8DfXmLZ8zx0WOv5QCKQFcIOarAoUOnnoiw3a9", X80),
    (
        "doveadm",
        "{PBKDF2}$1$9Qbatg3Hnno2u2Ln$5000$77906a17fe598003ea8594c10a53f612367f82c4",
        TANSTAAF,
    ),
    ("passlib", "$pbkdf2$1000$R.idM6bU.t/bO2cMgfB.7w$5cAKfs/lpDMuatF/2cn5a8aPCJU", TANSTAAF),
    (
        "passlib",
        "{PBKDF2}$pbkdf2-sha256$1000$bs2ZE8I4ZyzlXMu5l5JSSg$s168hs2AMZms0ETRRRH6Lp0bG6wS57dupWGMOziP2EE",
        TANSTAAF,
    ),
    (
        "passlib",
        "$pbkdf2-sha512$1000$jFFqzbmXkrK2NqZUqnWutQ$CcXARNY0P8ymb62KuxRA0ABtvQO7rz1lWoDpl27MwqfsonJwZfYSO7fP9usKpCOnGk6aPRd9C69wNB171EyI3g",
        TANSTAAF,
    ),
    ("doveadm", "{SSHA}CyibCMcaOdoIFzGAJQwY+Q3u96o4ISNu", TANSTAAF),
    ("passlib", "{SSHA}qyuBIx59gymctGbXlEcolAPrzxYbA6A0", TANSTAAF),
    ("doveadm", "{SSHA.HEX}fdd993ed58c3598e06d0f26e09061990d0b0aab5497f64eb", TANSTAAF),
    ("doveadm", "{SSHA256}1KV5/p61+beKgGYMRQmgSOpO2BdZGmS9+fVyPu7jYLpqc6iL", TANSTAAF),
    (
        "doveadm",
        "{SSHA256.HEX}6eb70203eaf2cb71fd697f00546e7faa439c9d342c42713ddb3f4510bc13067f966523a3",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SSHA512}zn7w/YkbKjImojMyFyEzGuknyI9jKfc2GYZghWPjF7b7IaV2XrK+fy4HkcUhLURq0lOwBivKIXVl8ACoUFp1dUBKZ4M=",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SSHA512.BASE64}ZJxY4MwIu5254gJsv3b5The/GC0sG8hY8CXJYv3giJJad/mU8jH3KfZJbv6j8zWb+XCz18ISEK0Hg/DPergidYQ9O88=",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SCRAM-SHA-256}4096,u08vIzdaQl9IwUFwLvyyUQ==,pHJ8/0SQW+3jf2H5lCrx3hLFHcgsSh7969ekGRQEFuc=,mnVhlejBVOpHSIMmTkxfCxcNnpjsQw0QZIhfBxJL408=",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SCRAM-SHA-256}4096,XnXR0aryOI4SzuLtt8djsA==,zvXEnoWWJZDYZwIgm1aCIGDtYS7Re+hA3GeTSH25Lkg=,thbDVw8w4h740BiLiYHYRgB+M8So7XQDv7LorXZi6OM=",
        UMLAUTS,
    ),
    (
        "doveadm",
        "{SCRAM-SHA-1}4096,PslSbpDOe4yka5FZiIvwTA==,CPfQzoRq4qsgW0PfjUT9nxJfvVg=,Pmd6bALaWXaiabMZG3n2mTtdZkw=",
        TANSTAAF,
    ),
    (
        "PostgreSQL",
        "SCRAM-SHA-256$4096:2p3ux/088/QTjT0am078CQ==$7NZPQUyyvMfts292jSaKWTxhCn6S00j/BYj5i9d9sIs=:z6HF3d4BtKVyLASDq1UtrQMINjwX6gVgpBeToVtynXQ=",
        TANSTAAF,
    ),
    // PostgreSQL prepares passwords, so the soft hyphen in this one is lost.
    (
        "PostgreSQL",
        "{SCRAM-SHA-256}4096:lM3TOSIUFchasAiAMXLJog==$dkxLqgv7gR1Ti4eYesgCq4vfY03kRCTlo1JausQB+sQ=:EVrZeovszWWC08KpabtyQLPxZLbTZPagxwpT9FF/WWc=",
        "IX",
    ),
    ("doveadm", "{PLAIN.B64}dGFuc3RhYWY=", TANSTAAF),
    ("doveadm", "{PLAIN.HEX}74616e7374616166", TANSTAAF),
];

pub(super) const WEAK: &[(&str, &str, &str)] = &[
    ("doveadm", "{MD5-CRYPT}$1$VuRevUpe$X/P1TdsEEe3UOqi7LuWLK.", TANSTAAF),
    ("doveadm", "{MD5}$1$mj6FPcgy$BiiUsOZKcXOAPzaFGc0gn0", TANSTAAF),
    ("mkpasswd", "$1$EHjMXKh0$3OGca0DcQwN1aiUSSLpNE.", TANSTAAF),
    ("passlib", "$1$InMMIoaL$ZJNeHmK9ZmT/EA8i5uKzA/", "a"),
    ("passlib", "$1$W/jOjJRL$PPmZYSVbPbR4DLjMKAUC3.", "xxxxxxxxxxxxxxx"),
    ("passlib", "$1$daZ4ZOn7$w/wN9/jR5g8ik/lk/LqjE.", "xxxxxxxxxxxxxxxx"),
    ("passlib", "$1$eK1Ym.BH$vwNdZ.HNIWM6RwBr2xj0C1", X80),
    ("passlib", "{CRYPT}$1$x4Ek/.OK$L0diCb7kEOa4a/AW4zbW11", UMLAUTS),
    ("doveadm", "{PLAIN-MD5}b3aa0ba4e1f957e5f3ef356cfc147008", TANSTAAF),
    ("doveadm", "{PLAIN-MD5.B64}s6oLpOH5V+Xz7zVs/BRwCA==", TANSTAAF),
    ("doveadm", "{LDAP-MD5}s6oLpOH5V+Xz7zVs/BRwCA==", TANSTAAF),
    ("passlib", "{MD5}s6oLpOH5V+Xz7zVs/BRwCA==", TANSTAAF),
    ("doveadm", "{SMD5}PBAYjNtq7arSBs6h2NvoKgY8ffY=", TANSTAAF),
    ("doveadm", "{SMD5.HEX}3a35b2dc99221f0f779bd97fd7f769fc5472fdb9", TANSTAAF),
    ("passlib", "{SMD5}W+TCtPRMPWyjKQ8G6Vrdo8IYg/A=", TANSTAAF),
    ("doveadm", "{SHA}60cXn4M+9rlkPiIl1CM8mjjFKYE=", TANSTAAF),
    ("doveadm", "{sha1}60cXn4M+9rlkPiIl1CM8mjjFKYE=", TANSTAAF),
    ("doveadm", "{SHA256}2OZJiX4f3IEocTIetqYiu1a2GovhuIBYRxZR+uXBLKo=", TANSTAAF),
    (
        "doveadm",
        "{SHA256.HEX}d8e649897e1fdc812871321eb6a622bb56b61a8be1b88058471651fae5c12caa",
        TANSTAAF,
    ),
    // Hex is recognised, as by Dovecot.
    (
        "doveadm",
        "{SHA256}d8e649897e1fdc812871321eb6a622bb56b61a8be1b88058471651fae5c12caa",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512}7k4B2Jp+VfRq9eIRUB9fGp9ZeNyZPWiiDRYSh7oJALW7dmzxjah/z/nf+cj/MOzDknLTjla4zoq4EfWvmjU7oA==",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512.HEX}ee4e01d89a7e55f46af5e211501f5f1a9f5978dc993d68a20d161287ba0900b5bb766cf18da87fcff9dff9c8ff30ecc39272d38e56b8ce8ab811f5af9a353ba0",
        TANSTAAF,
    ),
];

/// Of the traditional crypt(3), which is not supported any more.
pub(super) const DES: &[(&str, &str, &str)] = &[
    ("doveadm", "{DES-CRYPT}PGrGfl1sUeZwQ", TANSTAAF),
    ("mkpasswd", "{CRYPT}PTB32E0H1kq42", TANSTAAF),
    ("passlib", "{CRYPT}jNEmxxr0lU7.w", TANSTAAF),
    ("passlib", "{CRYPT}IdeJ.BphI7caM", "a"),
    ("passlib", "{CRYPT}q1qjC9EADQ1x6", X80),
    ("passlib", "{CRYPT}P/4x9F6yX.sZg", UMLAUTS),
    ("passlib", "{CRYPT}BECS/j84G0XWw", ""),
];

/// Hashes of an empty password, which passlib and crypt(3) make without an error.
pub(super) const EMPTY: &[&str] = &[
    "$6$rounds=1000$FC5Vyn1bM8rpP3y1$W2RTepNkt4sycNiyfjovvW9TnYQUgR8yRrXi8FgpsncP9CdeMXBR.NSCuWHL4Nku3Xk6SS6crIClRQYlLYwAp1",
    "$5$rounds=1234$bZjFqNq9sTI2s.YK$2JXVk0gcWjuQUL5Veax1bZu2J0UOdM.GKdcSTxlZ5sB",
    "$1$J7yD5JBO$h4e7WwP7D9Sc04583TW/a0",
    "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    "{PLAIN-MD5}d41d8cd98f00b204e9800998ecf8427e",
];

pub(in crate::password) const TANSTAAF: &str = "tanstaaf";
pub(super) const UMLAUTS: &str = "pässwörd mit Leer ";
pub(super) const X64: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
pub(super) const X80: &str =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
