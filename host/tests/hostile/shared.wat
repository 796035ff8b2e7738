;; Declares memory that threads would share.
(module
  (memory (export "memory") 1 10 shared)
  (func (export "_start")))
