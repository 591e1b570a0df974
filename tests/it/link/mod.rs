//! What a broker and a network do to the client: TLS, refusals, limits, and others who think they are us.

mod refusals;
mod tls;
