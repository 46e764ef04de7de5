//! The GraphQL schema and its HTTP transport.
