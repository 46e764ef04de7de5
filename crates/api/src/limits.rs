//! Every limit of the API, each with its reason.

use std::time::Duration;

/// The longest request body. A checkpoint of 10,000 artifacts with names and sources of
/// 1,024 bytes is 22 MB of JSON; a typical one (100 bytes each) is 3 MB.
pub const MAX_BODY_BYTES: usize = 32 << 20;

/// The longest query string of a GET. Proxies cut at 8 KiB.
pub const MAX_QUERY_STRING_BYTES: usize = 8 << 10;

/// The deepest selection. The introspection query of GraphiQL and of code generators is
/// 13 deep; the schema itself has nothing beyond 9.
pub const MAX_DEPTH: usize = 16;

/// The most fields an answer may be asked for. One page of [`MAX_PAGE`] checkpoints with
/// every field, their group and their placements with all segments is about 16,000.
pub const MAX_COMPLEXITY: usize = 20_000;

/// The most directives on one field.
pub const MAX_DIRECTIVES: usize = 8;

/// The deepest nesting the parser goes into, before a limit on depth can be checked.
pub const MAX_PARSER_RECURSION: usize = 32;

/// The largest page of a connection.
pub const MAX_PAGE: u32 = 200;

/// The largest page of a checkpoint's artifacts: they come from one document, not from
/// the table.
pub const MAX_ARTIFACT_PAGE: u32 = 2_000;

/// The page size where none is asked for.
pub const DEFAULT_PAGE: u32 = 50;

/// The most leaves of the ledger in one answer.
pub const MAX_LEAVES: u32 = 1_000;

/// The most services of one registration.
pub const MAX_SERVICES: usize = 1_000;

/// The longest name of a token.
pub const MAX_TOKEN_NAME_BYTES: usize = 64;

/// The most tokens of one installation: the file is read and written whole.
pub const MAX_TOKENS: usize = 10_000;

/// How many requests are executed at once; more wait in line.
pub const MAX_CONCURRENT: usize = 128;

/// The longest a request's body may be on its way. The longest body ([`MAX_BODY_BYTES`])
/// needs 4.5 Mbit/s to make it, a typical one a tenth of that; who is slower or stands
/// still must not hold a connection for good.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest a request may take once its body is there, waiting in line included. A
/// submission that runs into it may be repeated under the same idempotency key.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How many components are taken in and compiled at once: each is up to 24 MiB here and
/// up to 430 MB in the process that compiles it.
pub const MAX_UPLOADS: usize = 2;

/// The longest the compilation of a component may take, both architectures together. The
/// largest, in Python, take 18 s each on a quiet machine; the compiler's own limits end
/// earlier than this.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(300);
