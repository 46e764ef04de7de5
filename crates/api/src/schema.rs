//! The GraphQL schema: questions, orders, and the shape of the answers.

mod agent;
mod checkpoint;
mod input;
mod library;
mod mutation;
mod page;
mod query;
mod resolver;
mod service;

use async_graphql::{Context, EmptySubscription, Error, Schema, SchemaBuilder};
use control::Principal;

use crate::{Api, limits};

pub(crate) type TapemarkSchema = Schema<query::Query, mutation::Mutation, EmptySubscription>;

fn builder() -> SchemaBuilder<query::Query, mutation::Mutation, EmptySubscription> {
    Schema::build(query::Query, mutation::Mutation, EmptySubscription)
        .limit_depth(limits::MAX_DEPTH)
        .limit_complexity(limits::MAX_COMPLEXITY)
        .limit_directives(limits::MAX_DIRECTIVES)
        .limit_recursive_depth(limits::MAX_PARSER_RECURSION)
}

/// The schema over this API.
pub(crate) fn schema(api: Api) -> TapemarkSchema {
    builder().data(api).finish()
}

/// The schema as a GraphQL document.
pub fn sdl() -> String {
    builder().finish().sdl()
}

/// The API and the asker, from the request.
fn of<'a>(ctx: &Context<'a>) -> Result<(&'a Api, &'a Principal), Error> {
    Ok((ctx.data::<Api>()?, ctx.data::<Principal>()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_changes_on_purpose_only() {
        expect_test::expect_file!["../schema.graphql"].assert_eq(&super::sdl());
    }
}
