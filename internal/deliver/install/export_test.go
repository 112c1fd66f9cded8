package install

// Unpack is unpack, for its fuzz test.
var Unpack = unpack
