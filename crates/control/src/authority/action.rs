//! What can be done, named as the API names it.

use std::fmt;

/// Of what kind a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The installation as a whole.
    Installation,
    /// A service.
    Service,
    /// A checkpoint of a service.
    Checkpoint,
    /// A pool.
    Pool,
    /// A library.
    Library,
    /// A volume.
    Volume,
    /// A resolver.
    Resolver,
    /// An agent.
    Agent,
    /// A bearer token.
    Token,
}

/// Who may do it where no policy says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Operators.
    Operators,
    /// Operators, and a service for itself.
    Own,
    /// Everybody who is known.
    Everybody,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident: $rule:ident on $($kind:ident)|+;)+) => {
        /// What can be done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)+
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name, as policies write it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// Who may do it where no policy says otherwise.
            pub const fn rule(self) -> Rule {
                match self {
                    $(Self::$name => Rule::$rule,)+
                }
            }

            /// What it can be done to.
            pub const fn kinds(self) -> &'static [Kind] {
                match self {
                    $(Self::$name => &[$(Kind::$kind),+],)+
                }
            }
        }
    };
}

actions! {
    /// Submits a checkpoint of a service.
    Submit: Own on Service;
    /// Sees a service's registration.
    ViewService: Own on Service;
    /// Lists services beyond the caller's own.
    ListServices: Operators on Installation;
    /// Lists the checkpoints of one service, or of all.
    ListCheckpoints: Own on Service | Installation;
    /// Sees a checkpoint, its group, its artifacts' names and its run.
    ViewCheckpoint: Own on Checkpoint;
    /// Calls a checkpoint's group off.
    CancelCheckpoint: Own on Checkpoint;
    /// Asks for artifacts back from tape.
    Restore: Own on Checkpoint;
    /// Has a checkpoint read back and compared again.
    VerifyCheckpoint: Own on Checkpoint;
    /// Sees how far a restore or a re-verification is.
    ViewRestore: Own on Checkpoint;
    /// Fetches what was brought back.
    DownloadRestore: Own on Checkpoint;
    /// Decides a parked group.
    DecideParked: Operators on Checkpoint;

    /// Registers a service, or changes it.
    RegisterService: Operators on Service;
    /// Registers a service as one that takes no checkpoints.
    FreezeService: Operators on Service;
    /// Makes or changes a pool.
    PutPool: Operators on Pool;
    /// Sees a pool.
    ViewPool: Operators on Pool;
    /// Sees a volume, or those of a library.
    ViewVolume: Operators on Volume | Library;
    /// Has a volume listed from the medium.
    ScanVolume: Operators on Volume;
    /// Sees how far a scan is, and its report.
    ViewScan: Operators on Installation;
    /// Sees the drives of a library.
    ViewDrive: Operators on Library;
    /// Puts a drive of a library into service again.
    ResetDrive: Operators on Library;

    /// Publishes a resolver.
    PublishResolver: Operators on Resolver;
    /// Withdraws a release of a resolver.
    WithdrawResolver: Operators on Resolver;
    /// Sees a resolver, or all of them.
    ViewResolver: Everybody on Resolver | Installation;
    /// Has a resolver decide.
    BindResolver: Operators on Service | Pool | Library;
    /// Has a resolver decide no more.
    UnbindResolver: Operators on Service | Pool | Library;
    /// Runs a resolver beside the live one.
    ShadowResolver: Operators on Service | Pool | Library;
    /// Ends a shadow.
    UnshadowResolver: Operators on Service | Pool | Library;
    /// Makes a shadow the live resolver.
    PromoteResolver: Operators on Service | Pool | Library;
    /// Goes back to the resolver before.
    RollbackResolver: Operators on Service | Pool | Library;
    /// Sees what is bound where.
    ViewBinding: Operators on Installation;
    /// Sees what was decided, with the requests of all services in it.
    ViewDecision: Operators on Installation;

    /// Sees the ledger's head.
    ViewLedgerHead: Everybody on Installation;
    /// Reads the ledger's leaves, which tell of all services.
    ReadLedger: Operators on Installation;

    /// Makes a bearer token.
    CreateToken: Operators on Token;
    /// Forgets a bearer token.
    RevokeToken: Operators on Token;
    /// Sees the tokens' names and scopes.
    ViewToken: Operators on Installation;

    /// Lets an agent in, by a code that works once.
    EnrolAgent: Operators on Agent;
    /// Locks an agent out.
    RevokeAgent: Operators on Agent;
    /// Sees the agents.
    ViewAgent: Operators on Installation;
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
