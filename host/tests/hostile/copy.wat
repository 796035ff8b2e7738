;; Copies one half of its memory to the other, for ever.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (drop (memory.grow (i32.const 200)))
    (loop $again
      (memory.copy (i32.const 0) (i32.shl (memory.size) (i32.const 15)) (i32.shl (memory.size) (i32.const 15)))
      (br $again))
    (unreachable)))
