package vendorapi

// UnpackSpec, ReadSpec and WriteSpec read and write the files of a release in the form of clients.
var (
	UnpackSpec = unpackSpec
	ReadSpec   = readSpec
	WriteSpec  = writeSpec
)
