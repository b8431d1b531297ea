# What a hand-off costs in C++: dlbridge beside dlpark and libtorch, in one process.

.PHONY: bench-handoff-cpp bench-handoff-peer

bench-handoff-cpp: $(CPP_OUT)/handoff
	@$(CPP_OUT)/handoff

bench-handoff-peer:
	@$(CARGO) build --quiet --release -p dlpark_peer

$(CPP_OUT)/handoff: benches/handoff.cpp $(CPP_OUT)/torch.flags | lib bench-handoff-peer
	@$(CPP_BUILD) -std=c++17 -O2 @$(CPP_OUT)/torch.flags $(call CPP_LINK,$(LIB_RELEASE)) -ldlpark_peer
