;; A command that accepts connections on a socket that it does not have, for ever. The libraries of the host have a word
;; for each.
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $again
      (drop (call $accept (i32.const 0) (i32.const 0) (i32.const 64)))
      (br $again))))
