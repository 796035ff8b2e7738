//! Every start and stop, in order.
