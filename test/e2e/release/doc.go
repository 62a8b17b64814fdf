// Package release holds what `make release` makes to what its users are told: static
// programs that start, archives and checksums that agree, and an image whose layers
// and configuration are those of the documented commands.
//
// A release for every architecture, with Debian's packages in its image, takes
// minutes: SOAK=1. Without it the programs are those of this machine's architecture
// and the image's root is one small file.
package release
