;; Reads beyond its memory.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (i32.load (i32.const -4))))
