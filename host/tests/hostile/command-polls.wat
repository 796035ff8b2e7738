;; A command that waits for 800 million clocks, which do not fit into its memory.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (call $poll (i32.const 0) (i32.const 0) (i32.const 800000000) (i32.const 64)) (then (unreachable)))))
