;; Says that its result lies beyond its memory.
(core module $m
  (func (export "handle") (param $call i32) (result i32)
    (i32.const 0xfffffff0)))
