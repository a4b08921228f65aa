package provider

// Head is a writer that keeps the first Most bytes and drops the rest.
type Head struct {
	Most int64
	Kept []byte
	Cut  bool // something was dropped
}

// Write never fails.
func (h *Head) Write(b []byte) (int, error) {
	room := h.Most - int64(len(h.Kept))
	if int64(len(b)) > room {
		h.Cut = true
		h.Kept = append(h.Kept, b[:room]...)
		return len(b), nil
	}
	h.Kept = append(h.Kept, b...)
	return len(b), nil
}
