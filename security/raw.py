"""stub"""
def attack(server, figure, count): pass
