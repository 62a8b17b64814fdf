// Package release holds what `make release` makes to what its users are told: static
// programs that start, archives and checksums that agree, and an image whose layers
// and configuration are those of the documented commands. The image is started with
// runc, as an engine starts it that was given the documented flags.
//
// A release for every architecture, with Debian's packages in its image, takes
// minutes: SOAK=1. Without it two programs are made for this machine's architecture,
// the image's root is one small file, and the packages under it are this machine's.
package release
