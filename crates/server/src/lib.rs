//! The one router: native API and interface, over TCP, a socket or direct calls.
