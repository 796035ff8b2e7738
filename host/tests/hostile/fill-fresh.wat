;; Takes 63 MiB, nearly all it may have, and fills them in one go: pages that nobody has touched yet, and one step that
;; nothing interrupts.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (if (i32.eq (memory.grow (i32.const 980)) (i32.const -1)) (then (unreachable)))
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 64225280))
    (i32.const 16)))
