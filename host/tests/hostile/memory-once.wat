;; Asks for the whole 4 GiB at once, and traps when it does not get them.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1)) (then (unreachable)))
    (i32.const 16)))
