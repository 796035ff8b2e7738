;; Fills the whole of its memory, for ever.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (drop (memory.grow (i32.const 200)))
    (loop $again
      (memory.fill (i32.const 0) (local.get $call) (i32.shl (memory.size) (i32.const 16)))
      (br $again))
    (unreachable)))
