int pocket_ring_index;
