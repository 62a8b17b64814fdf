package chunkfs

import "github.com/hanwen/go-fuse/v2/fuse"

// refuse answers everything that a read-only filesystem does not do. The kernel
// itself refuses writes on a read-only mount; a remount must not change that.
type refuse struct{}

const erofs = fuse.EROFS

func (refuse) SetDebug(bool)     {}
func (refuse) Init(*fuse.Server) {}
func (refuse) OnUnmount()        {}

func (refuse) SetAttr(<-chan struct{}, *fuse.SetAttrIn, *fuse.AttrOut) fuse.Status { return erofs }
func (refuse) Mknod(<-chan struct{}, *fuse.MknodIn, string, *fuse.EntryOut) fuse.Status {
	return erofs
}

func (refuse) Mkdir(<-chan struct{}, *fuse.MkdirIn, string, *fuse.EntryOut) fuse.Status {
	return erofs
}

func (refuse) Unlink(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return erofs }

func (refuse) Rmdir(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return erofs }

func (refuse) Rename(<-chan struct{}, *fuse.RenameIn, string, string) fuse.Status { return erofs }

func (refuse) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status { return erofs }

func (refuse) Symlink(<-chan struct{}, *fuse.InHeader, string, string, *fuse.EntryOut) fuse.Status {
	return erofs
}

func (refuse) SetXAttr(<-chan struct{}, *fuse.SetXAttrIn, string, []byte) fuse.Status { return erofs }

func (refuse) RemoveXAttr(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return erofs }

func (refuse) Create(<-chan struct{}, *fuse.CreateIn, string, *fuse.CreateOut) fuse.Status {
	return erofs
}

func (refuse) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status { return erofs }

func (refuse) Write(<-chan struct{}, *fuse.WriteIn, []byte) (uint32, fuse.Status) { return 0, erofs }

func (refuse) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) { return 0, erofs }

func (refuse) CopyFileRange(<-chan struct{}, *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, erofs
}
func (refuse) Fallocate(<-chan struct{}, *fuse.FallocateIn) fuse.Status { return erofs }

// ENOSYS tells the kernel to do these itself and not to ask again.

func (refuse) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }

func (refuse) GetXAttr(<-chan struct{}, *fuse.InHeader, string, []byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (refuse) ListXAttr(<-chan struct{}, *fuse.InHeader, []byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (refuse) Lseek(<-chan struct{}, *fuse.LseekIn, *fuse.LseekOut) fuse.Status { return fuse.ENOSYS }

func (refuse) GetLk(<-chan struct{}, *fuse.LkIn, *fuse.LkOut) fuse.Status { return fuse.ENOSYS }

func (refuse) SetLk(<-chan struct{}, *fuse.LkIn) fuse.Status { return fuse.ENOSYS }

func (refuse) SetLkw(<-chan struct{}, *fuse.LkIn) fuse.Status { return fuse.ENOSYS }

func (refuse) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.ENOSYS
}
func (refuse) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status    { return fuse.ENOSYS }
func (refuse) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status    { return fuse.ENOSYS }
func (refuse) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.ENOSYS }
func (refuse) Release(<-chan struct{}, *fuse.ReleaseIn)            {}
func (refuse) ReleaseDir(*fuse.ReleaseIn)                          {}
func (refuse) Statx(<-chan struct{}, *fuse.StatxIn, *fuse.StatxOut) fuse.Status {
	return fuse.ENOSYS
}
