;; Asks for memory that it does not get, for ever.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (loop $again
      (drop (memory.grow (i32.const 65000)))
      (br $again))
    (unreachable)))
