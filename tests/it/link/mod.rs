//! What a broker and a network do to the client: TLS, refusals, limits, and others who think they are us.

mod limits;
mod refusals;
mod shipped;
mod tls;
