//! The types of `wit/plugin.wit` in Rust. Parameters are borrowed, so that a body goes from the
//! store to the guest with a single copy.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: {
        "hookbox:plugin/kv.get": async,
        "hookbox:plugin/kv.keys": async,
        "hookbox:plugin/steps.recall": async,
        "hookbox:plugin/steps.record": async,
    },
    exports: { default: async },
});
